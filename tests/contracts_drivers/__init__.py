"""One suite of behaviour for all drivers: ``contract.py`` says it, a small class per hypervisor runs it."""
