"""Pure rules of the model: default, validate, resolve, promote."""
