"""The commands of `raki`, a module for those that belong together. Each loads what it needs when it is called."""
