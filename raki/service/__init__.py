"""What the stages share that touches AWS. Standard library and boto3 only: a Lambda that uses it starts fast."""
