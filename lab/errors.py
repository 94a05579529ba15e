"""The one error a lab raises."""


class LabError(Exception):
    """Something a lab needs is missing or went wrong; the text says what to do next."""
