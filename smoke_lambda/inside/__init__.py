"""Code beside a wheel or in its function: on any Python from 3.8 on, without our packages."""
