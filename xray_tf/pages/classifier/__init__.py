"""Pages of the classifier: report, model card, recipe, shift card."""
