"""Operations from proposal to end: proposed, voted on, carried out, shown."""
