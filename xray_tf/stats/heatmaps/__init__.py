"""Statistics of heat maps: faithfulness, imputation, similarity."""
