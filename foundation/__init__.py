"""The ground floor: settings, errors, files, paths, random numbers, processes, the choice of backend, the style of pictures."""
