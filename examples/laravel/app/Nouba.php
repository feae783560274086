<?php

namespace App;

use Illuminate\Support\Facades\Http;
use Illuminate\Http\Exceptions\HttpResponseException;

/** Calls of Nouba's API, and the signature of its events. */
class Nouba
{
    /** A call of the API; a refusal becomes ours, with the sentence that says what to do. */
    public static function call(string $method, string $path, array $options = []): array
    {
        $answer = Http::withToken(config('nouba.token'))->timeout(15)
            ->send($method, config('nouba.url') . $path, $options);
        if ($answer->failed()) {
            $refusal = ['error' => $answer->json('detail') ?? 'Nouba refused'];
            throw new HttpResponseException(response()->json($refusal, $answer->status()));
        }
        return $answer->json();
    }

    /**
     * Whether the signature is Nouba's, and not older than five minutes.
     *
     * What `(new \StandardWebhooks\Webhook($secret))->verify($body, $headers)` does: use that one where Composer
     * brings standard-webhooks/standard-webhooks.
     */
    public static function isGenuine(string $body, string $id, string $timestamp, string $signatures): bool
    {
        if ($id === '' || !ctype_digit($timestamp) || abs(time() - (int) $timestamp) > 300) {
            return false;
        }
        $key = base64_decode(substr(config('nouba.events_secret'), strlen('whsec_')), true);
        if ($key === false || $key === '') {
            throw new \RuntimeException('NOUBA_EVENTS_SECRET is not a secret of an endpoint: whsec_ and base64.');
        }
        $expected = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $key, true));
        // two while a new secret replaces the old one
        foreach (explode(' ', $signatures) as $signature) {
            if (hash_equals($expected, $signature)) {
                return true;
            }
        }
        return false;
    }
}
