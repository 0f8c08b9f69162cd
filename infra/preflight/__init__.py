"""Whether an account and a region can take the deployment, before anything is deployed: `raki preflight`."""
