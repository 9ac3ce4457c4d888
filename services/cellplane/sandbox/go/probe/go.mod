module cellplane.sandbox/probe

go 1.25.0
