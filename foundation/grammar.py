"""Grammar of messages: a noun that agrees with its number, and names as a list, seconds as people say them."""


def counted(count, noun, plural=None) -> str:
    """Return a number with its noun, such as "1 image" and "1,437 images"."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def agreeing(count, one, several):
    """Return the word that agrees with a number, such as "is" or "are"."""
    return one if count == 1 else several


def listed(names):
    """Return names as a list: "train", "train and val", "train, val and test"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def duration(seconds) -> str:
    """Return seconds as text, such as "12s", "3m05s" or "2h07m"."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02d}s"
    return f"{seconds // 3600}h{seconds % 3600 // 60:02d}m"
