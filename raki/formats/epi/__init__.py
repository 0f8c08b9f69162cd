"""Echo-planar lines made as others: samples on ramps, reversed lines, the ghost that their navigators show."""
