"""Pure rules and states: no input or output, no framework."""
