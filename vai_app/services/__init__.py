"""The use cases: one module per component of the specification, and the workflow that runs their steps."""
