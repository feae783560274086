<?php

return [
    'url' => env('NOUBA_URL', 'http://127.0.0.1:8080'),
    'token' => env('NOUBA_TOKEN', ''),
    'events_secret' => env('NOUBA_EVENTS_SECRET', ''),
];
