"""What Zuora says: documents, kinds of jobs, requests and answers as values. No await, no socket, no clock."""
