"""The study in SQL: the only truth. Nothing else imports sqlalchemy."""
