"""`python -m experiments.sweep`: trainings on many machines."""
