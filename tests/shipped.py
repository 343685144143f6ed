"""config.py as it is shipped, whatever its user edited: in tests, and in the processes that are forked for them."""

from dataclasses import fields


def forget_edits():
    """Gives the settings of config.py the values that settings.py declares; the file stays as it is."""
    import config
    import settings

    values = {field.name: getattr(settings.Config(), field.name) for field in fields(settings.Config)}
    for field in fields(config.Config):
        field.default = values[field.name]
        setattr(config.Config, field.name, field.default)
    config.Config.__init__.__defaults__ = tuple(field.default for field in fields(config.Config))
