"""A rehearsal of the alarms: which of the templates' would have fired on what a local run measured."""
