"""The kill test: machines are made and removed while VAI's processes and its broker are killed at random."""
