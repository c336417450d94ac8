"""The ledger: events, labels, policies, keys and the audit trail. The only SQL of the service.

Every function takes a connection, so that what belongs together commits together.
"""
