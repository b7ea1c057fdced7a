"""Figures: samples of the data, the paper's figures and the confusion matrix."""
