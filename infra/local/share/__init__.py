"""The share: its folders, the gateway between them and the buckets, and the file system of prepared scans."""
