"""What people ask for, from a line of chat to an answer or a proposal."""
