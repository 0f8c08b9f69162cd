"""From the synthesised templates to stacks in moto: assets, types that moto lacks, custom resources."""
