"""The two images: a Dockerfile and a short main each. They import `raki`, never each other."""
