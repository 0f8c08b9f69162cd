"""The sender: finished result in, images in the site's picture archive out."""
