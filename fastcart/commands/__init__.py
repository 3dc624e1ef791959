"""The commands of ``fastcart``, a module each: ``register`` adds its arguments to the command line."""
