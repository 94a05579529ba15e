"""The pure heart: values and functions over them, standard library only."""
