"""`python -m experiments.campaign`: runs what results/plan.csv plans, as far as the time allows."""
