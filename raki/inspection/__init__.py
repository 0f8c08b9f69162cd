"""What is in a raw file, and what can be done with it: the files of one scan in, an `Inspection` out.

`raki.inspection.inspection` inspects, `raki.inspection.text` describes in words,
`raki.inspection.remarks` says what a scan lacks, `raki.inspection.memory` what it takes. Nothing is loaded here:
`survey` reads in a process of its own, which has no need of torch. The folder stands above `kspace`, since it asks each
method what it would need.
"""
