"""Several runs at once: processes of this machine, Ray, Slurm."""
