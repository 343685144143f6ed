"""What everything stands on: settings, errors, files, paths, random numbers, processes, the choice of backend."""
