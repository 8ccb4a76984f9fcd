drop index gateway_call_with_bodies;
