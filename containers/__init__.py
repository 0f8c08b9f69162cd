"""The two images: a Dockerfile, the lock of its packages and a short main each. They import `raki`, never each other.

For a new version of a package, change constraints.txt and run the command at the top of each requirements.txt; for a
new base, change its tag and digest together. `docker buildx build --sbom=true` lists all that is in an image.
"""
