"""Grammar of messages: a noun that agrees with its number, and names as a list."""


def counted(count, noun, plural=None):
    """Return a number with its noun, such as "1 image" and "1,437 images"."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def agreeing(count, one, several):
    """Return the word that agrees with a number, such as "is" or "are"."""
    return one if count == 1 else several


def listed(names):
    """Return names as a list: "train", "train and val", "train, val and test"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
