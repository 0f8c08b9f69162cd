"""raki side by side with its peers, and with itself: quality, speed, memory. Never part of the tests' promises."""
