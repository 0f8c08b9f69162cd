"""The share: file shares on a gateway, and a gateway on EC2 where none stands in the hospital."""
