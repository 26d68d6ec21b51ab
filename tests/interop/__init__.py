"""`make interop`: mail between Postroom and other mail systems, in both directions.

`combination` names the five extensions and what is switched of them, `letters` what is sent,
`judge` what must become of it, `peer` what each other system has to be able to do; one module
for each of those (`postfix_peer` and its siblings). `rounds` runs them, `report` shows it.
"""
