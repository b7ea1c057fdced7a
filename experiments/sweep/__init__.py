"""`python -m experiments.sweep`: runs trainings in parallel on several machines."""
