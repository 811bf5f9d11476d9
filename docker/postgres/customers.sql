-- The agent's role, with what a managed PostgreSQL gives: CREATEDB and CREATEROLE, no superuser, no file access.
\getenv password ODOOOPS_ROLE_PASSWORD
CREATE ROLE odooops_agent LOGIN NOSUPERUSER CREATEDB CREATEROLE PASSWORD :'password';
CREATE DATABASE defaultdb OWNER odooops_agent;
-- The agent takes its locks there: a customer's code that could enter might hold them.
REVOKE CONNECT ON DATABASE defaultdb FROM PUBLIC;
-- Not from "postgres": Odoo's bus sends and hears its notifications there, whatever its own database is.
REVOKE CONNECT ON DATABASE template1 FROM PUBLIC;
