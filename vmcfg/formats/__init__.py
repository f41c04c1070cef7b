"""How a plan is written: one function a format, from a `Plan` and the places of its values to text."""
