"""HTTP interface of the service: bounded requests, typed responses, problem documents for errors."""
