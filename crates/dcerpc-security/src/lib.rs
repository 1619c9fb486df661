//! NTLM, SPNEGO and Kerberos behind the security seam of dcerpc-proto.
