"""The configuration: text to frozen values, without touching anything else."""
