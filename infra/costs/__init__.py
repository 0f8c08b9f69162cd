"""What the service costs on AWS: prices as data, formulas, what a profile has running all month, `raki cost`."""
