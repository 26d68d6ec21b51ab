"""The targets: each module has one TARGET, named as the module is."""
