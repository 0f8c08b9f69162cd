"""The published networks, as their authors describe them: baselines that `raki` has to beat."""
