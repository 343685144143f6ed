"""Questions, one file each: what is compared, what is held equal, what was claimed. See `studies.study`."""
