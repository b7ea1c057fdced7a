"""Figures: samples of the data, the paper's figures, the confusion matrix, and a gallery of wrong digits."""
