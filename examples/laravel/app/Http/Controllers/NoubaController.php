<?php

namespace App\Http\Controllers;

use App\Nouba;
use Illuminate\Http\Request;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Log;

/** Checkouts, uploads, lessons, and the events that Nouba sends. */
class NoubaController
{
    /** Send the payer to the provider. Sent twice, it is the same checkout. */
    public function pay(Request $request, string $number)
    {
        $checkout = Nouba::call('POST', '/api/v1/checkouts', ['json' => [
            'provider' => $request->input('provider', 'chargily'),
            // from your session and your own price list: never from the browser
            'user_id' => 7,
            'order_number' => $number,
            'amount_minor' => 250000,
            'currency' => 'DZD',
            'return_url' => url("/orders/$number"),
        ]]);
        return redirect()->away($checkout['redirect_url'], 303);
    }

    /** Where the payer comes back to. The return proves nothing; the payment does. */
    public function showOrder(string $number)
    {
        $page = Nouba::call('GET', '/api/v1/payments', ['query' => ['order_number' => $number]]);
        $isPaid = collect($page['items'])->contains('status', 'completed');
        return response()->json(['order_number' => $number, 'is_paid' => $isPaid]);
    }

    /** Where the teacher's browser puts the file: the bytes never pass through this application. */
    public function beginUpload(Request $request, int $course)
    {
        return response()->json(Nouba::call('POST', "/api/v1/courses/$course/video", ['json' => $request->json()->all()]));
    }

    /** The browser has put the whole file; Nouba transcodes it. */
    public function completeUpload(Request $request, int $course)
    {
        $path = "/api/v1/courses/$course/video/complete";
        return response()->json(Nouba::call('POST', $path, ['json' => $request->json()->all()]), 202);
    }

    /** The address for the player, for one viewer who may watch: check that first. */
    public function play(int $course)
    {
        return response()->json(Nouba::call('GET', "/api/v1/courses/$course/playback", ['query' => ['viewer' => '7']]));
    }

    /** An event of Nouba's, signed as Standard Webhooks has it; it may come more than once. */
    public function receiveEvent(Request $request)
    {
        $header = fn (string $name) => (string) $request->header("webhook-$name");
        if (!Nouba::isGenuine($request->getContent(), $header('id'), $header('timestamp'), $header('signature'))) {
            return response()->noContent(401);
        }
        $event = $request->json()->all();
        // the id and what the event changes are one transaction: a crash in between loses neither
        DB::transaction(function () use ($event, $header) {
            $isNew = DB::table('nouba_events')->insertOrIgnore(['id' => $header('id'), 'type' => $event['type']]);
            if ($isNew) {
                Log::info('event ' . $event['type']);
            }
        });
        return response()->noContent();
    }
}
